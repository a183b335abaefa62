"""Side-by-side benchmarks and what they compare against."""

"""Reading the pages of benchmarks."""


def row(page, title):
    (found,) = [line for line in page.splitlines() if line.startswith(f"| {title} |")][:1]
    return [cell.strip() for cell in found.strip("|").split("|")]

"""Reports about runs, in Markdown and HTML."""

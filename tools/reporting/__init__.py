"""The report: `assemble` gathers its numbers in one document, `html` and `markdown` show them."""

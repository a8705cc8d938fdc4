"""The report as one HTML page; nothing is fetched or executed."""

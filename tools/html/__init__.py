"""The report as one HTML page: `content` gathers its numbers, `page` draws them; nothing is fetched or executed."""

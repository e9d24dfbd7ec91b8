"""What a gate asks of the data of a finished document: a schema, and how sure the vendor must be."""

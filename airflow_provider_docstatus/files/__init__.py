"""Write extracted data to a file or an object store: the whole file under its final name, or nothing."""

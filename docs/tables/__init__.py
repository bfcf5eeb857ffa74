"""What writes the generated parts of the documents, one module for each thing that they describe."""

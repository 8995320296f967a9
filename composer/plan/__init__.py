"""What the project wants, what there is, and the operations between them."""

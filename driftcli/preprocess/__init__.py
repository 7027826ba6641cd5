"""What is done to the traces before anything looks for peaks in them, and how loud their noise is."""

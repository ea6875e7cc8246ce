"""What `rezoo.data.beam` does with chunks of rows, as functions of arrays; and the folder that it writes."""

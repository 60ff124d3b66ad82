"""Parts of the lists of passes with which backends lower TIR."""

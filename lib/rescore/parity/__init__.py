"""The library against numbers of the authors' own code: `rescore parity`.

`table`: what a comparison is; one module for each authors' code, with a function that compares all its golden numbers.
"""

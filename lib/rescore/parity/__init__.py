"""The library against numbers of the authors' own code: `rescore parity`.

`table`: what a comparison is; `compare`: all of them; between, one module for each authors' code.
"""

"""The report: a folder of static pages, made of a run or of the committed reference. No torch.

`source` reads what is shown, `layout` puts printed tables in their printed form, `cards` tells all about one number, `moved`
compares two results, `content` has what each page shows, `pages` renders the templates. They need no network and no server:
DataTables comes from the package itables, plotly.js from the package plotly, each copied once into the folder's `assets/`.
"""

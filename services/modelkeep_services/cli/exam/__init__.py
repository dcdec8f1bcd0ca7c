"""`modelkeep export --exam`: what an examiner asks for, in one archive that checks.

tables.py     which rows are in it, asked of the services as of one moment
sheet.py      the inventory: one line a model, with the fields the regimes ask for
cells.py      messages as cells, safe to open in a spreadsheet
checker.py    the verifier, as one file to run
page.py       the archive's own page: what is in it, and how to check it
pack.py       all of it in one archive, with a signed list of what is in it
"""

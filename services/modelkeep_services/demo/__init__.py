"""A real year: real data, real models, and nothing here that touches a ledger.

What is where, in the order in which a reader needs it:

    data/           compact files made from two public packages; LICENCES.md says whose
    make_data.py    makes them again (a developer runs it)
    decisions.py    `Decisions`: columns, when decided, when known, what came true
    flights.py      336,776 departures from New York in 2013: will it arrive late?
    credit.py       1,000 loan applications: tier 1, every refusal owes reason codes
    clinic.py       569 biopsies read by a vendor's black box; its silent replacement
    bank.py         the user's own UCI bank-marketing file (`modelkeep demo --bank`)
    recipes.py      what is trained on which columns, and how
    training.py     fit and export; rolling-origin evaluation; champion v challenger
    export.py       a fitted estimator as one ONNX file that takes the raw columns
    artifacts.py    save by digest, load by digest, score; never unpickles
    explain.py      what each group of features contributed to a score
    cards.py        the CycloneDX 1.6 model card that travels with a version
    latency.py      scoring latencies measured once, replayed row by row

The scenario driver reads these and speaks to the services; nothing here reads a clock.
"""

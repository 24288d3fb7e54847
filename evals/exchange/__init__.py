"""Results of other tools as run logs, and run logs by way of a batch file.

lm_eval.read(path, choice)      each tool has one module with one function of this signature
imports.write(imported, ...)    any of them as a sealed run log, which the gate reads like one of our own
requests.write(...), answers.read(...)   the two halves of a run that a batch engine answers in between
"""

"""Who spent how much: the ledger as rows, for the command line and for the administration over HTTP."""

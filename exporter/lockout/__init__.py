"""Keep the vendor from blocking our address: guard, queue of calls, ledger of refusals."""

"""Labels by people: ledger, gold split, labelling queue, import and export, agreement."""

"""Values that every part of the package must agree on."""

VOID = 255  # label of pixels that no loss and no metric may look at

"""Linear classifiers over words: what type an issue is; numpy alone, at run time and for training."""

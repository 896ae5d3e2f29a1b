"""Linear classifiers over words for the type of an issue. Training and prediction need only numpy."""

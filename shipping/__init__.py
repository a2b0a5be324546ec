"""What ships with the package: weights from committed runs, and the cards that tell what they withstand."""

"""What steering a clip takes on the side of pictures: numpy only."""

"""What a run is made with."""

"""What Segue tells about itself: masking and logs. Imports nothing of Segue but `segue.errors`."""

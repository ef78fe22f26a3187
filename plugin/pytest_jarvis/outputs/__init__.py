"""What is made of a report: files for people and the lines on the terminal."""

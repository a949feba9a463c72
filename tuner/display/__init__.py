"""Values as people read them: numbers, durations and dates as text, and tables as HTML."""

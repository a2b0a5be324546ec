"""Many result cards as one leaderboard: ranked, and written as HTML, Markdown, CSV and LaTeX."""

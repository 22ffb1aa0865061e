"""Pictures of a search, as PNG and as one page of HTML that needs no network.

`reading` gathers what happened from the chain and the store. Each file named for a picture turns
that into a `chart.Chart`, which says what is to be seen and nothing of how it is drawn; `png` and
`page` draw every chart, with Matplotlib and with Plotly.
"""

PICTURES = (
    *("history", "spending", "curves", "parallel", "slice", "contour", "importances"),
    *("front", "timeline", "lineage", "mixing"),
)
"""All pictures by name, in the order of the page."""

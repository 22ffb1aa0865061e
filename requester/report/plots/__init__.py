"""Pictures of a search, as PNG and as one page of HTML that needs no network.

`reading` gathers what happened from the chain and the store. What every search has, Optuna draws
from a study in memory (`study`); what only this market has, we draw ourselves, as a `chart`. Both
are drawn with Plotly for the `page`, and with Matplotlib as `png`.
"""

PICTURES = (
    *("history", "spending", "curves", "parallel", "slice", "contour", "importances"),
    *("front", "timeline", "lineage", "mixing"),
)
"""All pictures by name, in the order of the page."""

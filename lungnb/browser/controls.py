"""The controls of the browser and their layout."""

from functools import partial

import ipywidgets

from lungnb.masks import LUNG_THRESHOLD

VIEWS = ("image", "probability", "disagreement")  # of the picture on the right
ORDERS = ALL, MARKED, UNCERTAIN_FIRST = ("all images", "marked images", "uncertain images first")


class Controls:
    """The controls and pictures of the browser, without what they do; `widget` shows them all."""

    def __init__(self, count: int, order: str, correcting: ipywidgets.Widget, brush: ipywidgets.Widget) -> None:
        button, layout = ipywidgets.Button, ipywidgets.Layout
        self.previous = button(description="Previous", icon="chevron-left", layout=layout(width="110px"))
        self.next = button(description="Next", icon="chevron-right", layout=layout(width="110px"))
        self.number = ipywidgets.BoundedIntText(1, 1, count, layout=layout(width="80px"))
        self.wrong = button(layout=layout(width="170px"))
        self.order = ipywidgets.Dropdown(options=ORDERS, value=order, layout=layout(width="190px"))
        self.total = ipywidgets.HTML()
        whole_name = {"description_width": "initial"}
        self.threshold = ipywidgets.FloatSlider(
            LUNG_THRESHOLD, min=0.01, max=0.99, step=0.01, description="Threshold", layout=layout(width="420px"),
            style=whole_name,
        )  # fmt: skip
        self.slice = ipywidgets.IntSlider(description="Slice", layout=layout(width="420px"), style=whole_name)
        self.view = ipywidgets.ToggleButtons(options=VIEWS, style={"button_width": "120px"})
        self.status, self.caption, self.left_legend, self.right_legend = (ipywidgets.HTML() for _ in range(4))
        picture = partial(ipywidgets.Image, format="jpeg", layout=layout(width="100%", margin="0"))
        self.left, self.right = picture(), picture()
        self._lay_out(correcting, brush)

    def _lay_out(self, correcting: ipywidgets.Widget, brush: ipywidgets.Widget) -> None:
        """Lay the controls out in rows above the two pictures or the brush."""
        row = partial(ipywidgets.HBox, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        column = partial(ipywidgets.VBox, layout=ipywidgets.Layout(width="50%", padding="4px", overflow="hidden"))
        halves = [column([self.left, self.left_legend]), column([self.right, self.right_legend])]
        self.pictures = ipywidgets.HBox(halves)
        self.looking = ipywidgets.HBox([self.threshold, self.view])
        self.looking.layout.flex_flow, self.looking.layout.align_items = "row wrap", "center"
        steps = row([self.previous, self.number, self.total, self.next, self.order, self.wrong, self.status])
        rows = [steps, self.looking, self.slice, correcting, self.caption, self.pictures, brush]
        self.widget = ipywidgets.VBox(rows)
        self.widget.layout.max_width = "1200px"


def show_if(is_shown: bool, *widgets: ipywidgets.DOMWidget) -> None:
    """Show widgets or hide them."""
    for widget in widgets:
        widget.layout.display = None if is_shown else "none"

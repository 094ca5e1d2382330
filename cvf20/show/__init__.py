"""What notebooks show: figures with captions, tables, notes, and networks explained."""
# ruff: noqa: F401

from cvf20.show.explain import explainit
from cvf20.show.figures import COLOURS, MISTAKES, class_legend, legend, show, show_file, title
from cvf20.show.pictures import colour_labels, displayable, grid, heat, mistakes, overlay, side_by_side
from cvf20.show.plots import bars, confusion_figure, curves, heatmap, points
from cvf20.show.tables import Clock, markdown_table, note, show_source, show_table, time_table

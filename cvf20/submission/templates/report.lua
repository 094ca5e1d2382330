function Div(it) return it.content end -- a cell is no block of its own

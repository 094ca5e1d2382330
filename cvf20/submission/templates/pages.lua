-- A notebook's cells as a reader wants them, in the page (html) and in the report (typst).

local LINES = 12 -- of printed output in the report; the notebook holds all of it
local report = FORMAT == "typst"

-- What Jupyter shows and pandoc does not: <img> and bare formula environments; what lies in the network becomes a link.
local function shown(blocks, cell)
  local function image(src)
    if src:match("^https?:") or src:match("^//") then return pandoc.Link({pandoc.Str(src)}, src) end
  end
  return blocks:walk({
    Image = function(it) return image(it.src) end,
    RawInline = function(it)
      local src = it.format:match("html") and it.text:match("^<img[^>]-src=[\"']([^\"']+)[\"']")
      if src then return image(src) or pandoc.Image({}, (src:gsub("^attachment:", cell.identifier .. "-"))) end
    end,
    RawBlock = function(it)
      local name = it.format == "tex" and it.text:match("^\\begin{(%a+)%*?}")
      if name == "align" or name == "equation" or name == "gather" then
        return pandoc.Para({pandoc.Math("DisplayMath", it.text)})
      end
    end,
  })
end

local function markdown(text)
  return pandoc.read(text .. "\n", "gfm+tex_math_dollars").blocks -- a table needs its last line ended
end

-- Printed lines; in the report without those of training, and not more than a few.
local function printed(block)
  block.classes = {"text"}
  local lines, count = {}, 0
  for line in ((report and block.text:gsub("%s+$", "") or "") .. "\n"):gmatch("(.-)\n") do
    if not (line:match("^%S+%-seed%d+:") or line:match("^%S+%-seed%d+%s+epoch")) then
      count = count + 1
      if count <= LINES then table.insert(lines, line) end
    end
  end
  if count > LINES then table.insert(lines, "… " .. count - LINES .. " more lines, in the notebook") end
  if report then block.text = table.concat(lines, "\n") end
  return block
end

local function picture(block)
  return block.content and #block.content == 1 and block.content[1].t == "Image" and block.content[1]
end

-- Of the ways in which an output can be shown, the best.
local function best(output)
  local ranks = {markdown = 2, latex = 3, tex = 3, html = report and 6 or 4}
  local function rank(block)
    return picture(block) and 1 or block.t == "RawBlock" and ranks[block.format] or block.t == "CodeBlock" and 5 or 7
  end
  local found = output.content[1]
  for _, block in ipairs(output.content) do
    if rank(block) < rank(found) then found = block end
  end
  return found
end

-- A code cell: its source, folded or left out where it is hidden; then its outputs, each picture above its caption.
local function code(cell)
  local result, waiting = pandoc.Blocks({}), nil
  local function add(block)
    if waiting then
      local words = block and block.t == "RawBlock" and block.text:match("`[^`]+%.png`%s*$") and markdown(block.text)
      local caption = words and pandoc.utils.blocks_to_inlines(words) or waiting.attributes.alt or ""
      waiting.attributes = {}
      result:insert(pandoc.Figure({pandoc.Plain({waiting})}, {long = {pandoc.Plain(caption)}}))
      waiting = nil
      if words then return end
    end
    if not block then return end
    waiting = picture(block)
    if waiting then return end
    if block.t == "RawBlock" and block.format == "markdown" then result:extend(shown(markdown(block.text), cell))
    else result:insert(block.t == "CodeBlock" and printed(block) or block) end
  end
  for _, block in ipairs(cell.content) do
    if block.t == "CodeBlock" then -- the source
      local hidden = (cell.attributes.tags or ""):find("hide-input", 1, true)
      if hidden and not report then result:insert(pandoc.RawBlock("html", "<details><summary>Code</summary>")) end
      if block.text ~= "" and not (hidden and report) then result:insert(block) end
      if hidden and not report then result:insert(pandoc.RawBlock("html", "</details>")) end
    elseif not (report and block.classes:includes("stderr")) then
      add(best(block))
    end
  end
  add(nil)
  return result
end

function Pandoc(document)
  local result = pandoc.Blocks({})
  for _, cell in ipairs(document.blocks) do
    result:extend(cell.classes:includes("code") and code(cell) or shown(cell.content, cell))
  end
  document.blocks = result
  return document
end

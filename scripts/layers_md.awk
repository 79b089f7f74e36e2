# The text of docs/layers.md; see layers_md.sh. Reads src/caffe/layers.h, then the headers of the layers.

function trim(text) {
  gsub(/^ +| +$/, "", text)
  return text
}

# Adds a line of a comment. A paragraph begins where a line ends with its sentence although the next word had room, and
# where shapes or parameters begin a line.
function add_line(doc, line, width,   last, word) {
  if (doc == "") return line
  last = doc
  sub(/.*\n/, "", last)
  word = line
  sub(/ .*/, "", word)
  if (line == "" || last == "" || line ~ /^    / || last ~ /^    /) return doc "\n" line
  if (last ~ /[.:]\)?$/ && (line ~ /^(\[|->|Parameters?[:,])/ || length(last) + length(word) + 1 <= width))
    return doc "\n\n" line
  return doc "\n" line
}

# Examples and formulas are indented in a comment; here they are fenced.
function markdown(doc,   lines, n, i, text, block, open) {
  n = split(doc, lines, "\n")
  text = ""
  open = 0
  for (i = 1; i <= n; ++i) {
    if (lines[i] ~ /^    /) {
      if (!open) text = text (lines[i] ~ /(Layer|Loss)\{/ ? "```cpp\n" : "```\n")
      open = 1
      text = text substr(lines[i], 5) "\n"
    } else {
      if (open) text = text "```\n"
      open = 0
      if (lines[i] ~ /^([-+*#>]|[0-9]+[.)]) /) fail("a line of a comment begins as a list or a heading does: " lines[i])
      text = text lines[i] "\n"
    }
  }
  return text (open ? "```\n" : "")
}

function cell(text) {
  gsub(/\n+/, " ", text)
  gsub(/\|/, "\\|", text)
  return text
}

# Fields of one line, "Dim axis = 1, end_axis = -1;", become a row.
function add_field(owner, line, doc,   note, type, names, values, name, n, i, parts) {
  note = ""
  if (match(line, /; +\/\/ /)) {
    note = substr(line, RSTART + RLENGTH)
    line = substr(line, 1, RSTART)
  }
  line = trim(line)
  sub(/;$/, "", line)
  match(line, /^[^ ]+ /)
  type = trim(substr(line, 1, RLENGTH))
  line = substr(line, RLENGTH + 1)
  n = 0
  while (match(line, /, [a-z_0-9]+ = /)) {  # a comma inside of a value is followed by no name
    parts[++n] = substr(line, 1, RSTART - 1)
    line = substr(line, RSTART + 2)
  }
  parts[++n] = line
  for (i = 1; i <= n; ++i) {
    name = parts[i]
    sub(/ = .*/, "", name)
    names = names (i > 1 ? ", " : "") "`" (owner ~ /Options$/ ? "." : "") name "`"
    if (parts[i] ~ / = /) {
      sub(/^[^=]* = /, "", parts[i])
      values = values (i > 1 ? ", " : "") "`" parts[i] "`"
    }
  }
  if (note ~ /^required/) {
    values = "required"
    sub(/^required */, "", note)
    if (note != "") values = values " " note
    note = ""
  }
  if (note != "") doc = doc (doc == "" ? "" : " ") note
  for (i = split(type, parts, /[^A-Za-z0-9_]/); i > 0; --i)
    if (parts[i] != "") uses[owner] = uses[owner] " " parts[i]
  rows[owner] = rows[owner] "| " names " | `" type "` | " values " | " cell(doc)
  rows[owner] = rows[owner] "@" (n == 1 ? name : "") "@ |\n"  # where Caffe's name may stand
}

function fail(why) {
  print "layers_md: " why > "/dev/stderr"
  failed = 1
  exit 1
}

# ---- The catalog: LINE(Type, "Caffe's", {messages}, {{ours, Caffe's}}, ...);

FILENAME ~ /src\/caffe\/layers\.h$/ {
  if (/^  LINE\(/) entry = ""
  entry = entry $0
  if (/^  LINE\(.*\);$|^      .*\);$/ && entry ~ /^  LINE\(/) {
    text = entry
    sub(/^  LINE\( */, "", text)
    type = text
    sub(/,.*/, "", type)
    match(text, /"[^"]+"/)
    caffe_type[type] = substr(text, RSTART + 1, RLENGTH - 2)
    text = substr(text, RSTART + RLENGTH)
    if (match(text, /\{("[a-z_0-9]+"(, )?)+\}/)) {
      list = substr(text, RSTART + 1, RLENGTH - 2)
      gsub(/"/, "`", list)
      caffe_messages[type] = list
    }
    while (match(text, /\{"[a-z_]+", "[a-z_]+"\}/)) {
      split(substr(text, RSTART, RLENGTH), pair, "\"")
      if (pair[4] !~ /_param$/) rename[type, pair[2]] = pair[4]
      text = substr(text, RSTART + RLENGTH)
    }
    entry = ""
  }
  next
}

# ---- The headers

FNR == 1 {
  doc = ""
  owner = ""
  space = ""
  header = FILENAME
  sub(/^include\/sparknet\//, "", header)
  key = header
  sub(/^layers\//, "", key)
  sub(/\.h$/, "", key)
}

/^namespace sparknet::caffe/ { space = "caffe::" }

/^\/\/\// {
  text = $0
  sub(/^\/\/\/ ?/, "", text)
  doc = add_line(doc, text, 116)
  next
}

/^enum class / {
  name = $3
  list = $0
  while (list !~ /\};$/ && (getline more) > 0) list = list more
  sub(/^[^{]*\{ */, "", list)
  sub(/,? *\};$/, "", list)
  gsub(/ *, */, "`, `", list)
  enumerators[name] = "`" list "`"
  enum_doc[name] = doc
  doc = ""
  next
}

/^struct [A-Za-z0-9]+ \{/ {
  owner = $2
  struct_doc[owner] = doc
  struct_header[owner] = header
  doc = ""
  field_doc = ""
  is_layer = 0
  next
}

/^\};/ {
  owner = ""
  next
}

owner != "" && /^  \/\/\/? / {
  text = $0
  sub(/^ *\/\/\/? ?/, "", text)
  field_doc = add_line(field_doc, text, 114)
  next
}

owner != "" && /^  static constexpr std::string_view type = / {
  layers[key] = layers[key] " " owner
  layer_space[owner] = space
  layer_key[owner] = key
  bottoms[owner] = "none"
  is_layer = 1
  next
}

is_layer && owner != "" && /^  (Inputs<|AnyInputs )/ {
  text = $0
  note = ""
  if (match(text, /\/\/ /)) note = substr(text, RSTART + 3)
  if (note != "")
    bottoms[owner] = note
  else if (text ~ /AnyInputs/)
    bottoms[owner] = "one or more"
  else
    bottoms[owner] = "one"
  field_doc = ""
  next
}

is_layer && owner != "" && /^  (Shape|std::vector<Shape>) infer\(/ {
  if (match($0, /; +\/\/ /))
    tops[owner] = substr($0, RSTART + RLENGTH)
  else if (/^  Shape/)
    tops[owner] = "one"
  else if (tops[owner] == "")
    fail(owner " does not say its tops, in a comment behind infer or tops()")
  next
}

is_layer && owner != "" && /^  std::vector<std::string> tops\(\) const/ {
  if (match($0, /; +\/\/ /) || match($0, /\} +\/\/ /))
    tops[owner] = substr($0, RSTART + RLENGTH)
  else if (/return \{\};/)
    tops[owner] = "none"
  next
}

owner != "" && /^  bool operator==/ { fields_over[owner] = 1 }

owner != "" && !fields_over[owner] && /^  [A-Za-z].*;/ && !/\(.*\) (const|\{)/ {
  if (is_layer && $0 ~ /^  (std::string name|std::optional<Include> include|Where where)/) {
    field_doc = ""
    next
  }
  if (is_layer && match($0, /^  [A-Za-z0-9]+Options options/)) {
    options_of[owner] = $1
    field_doc = ""
    next
  }
  if (owner ~ /Options$/ || is_layer) add_field(owner, $0, field_doc)
  field_doc = ""
  next
}

/^[^ ]/ { doc = "" }

# ---- The document

function anchor(type,   text) {
  text = tolower(layer_space[type] type)
  gsub(/::/, "", text)
  return text
}

function print_rows(owner, type,   lines, n, i, name) {
  n = split(rows[owner], lines, "\n")
  for (i = 1; i < n; ++i) {
    match(lines[i], /@[a-z_0-9]*@ \|$/)
    name = substr(lines[i], RSTART + 1, RLENGTH - 4)
    text = substr(lines[i], 1, RSTART - 1)
    if ((type, name) in rename) text = text (text ~ / $/ ? "" : " ") "Caffe's `" rename[type, name] "`."
    print text (text ~ / $/ ? "|" : " |")
  }
}

function print_layer(type,   own, options, list, n, i, name, told, text) {
  options = options_of[type]
  print "### " layer_space[type] type "\n"
  text = "`sparknet/" struct_header[type] "`"
  if (type in caffe_type) {
    text = text "; in a prototxt `" caffe_type[type] "`"
    if (caffe_messages[type] != "") text = text " with " caffe_messages[type]
  }
  print text ".\n"
  print markdown(struct_doc[type])
  print "Bottoms: " bottoms[type] ". Tops: " tops[type] ".\n"
  if (struct_doc[options] != "") print markdown(struct_doc[options])
  if (rows[options] rows[type] != "") {
    print "| option | type | default | |"
    print "| --- | --- | --- | --- |"
    print_rows(options, type)
    print_rows(type, type)
    print ""
  }
  n = split(uses[options] uses[type], list, " ")
  for (i = 1; i <= n; ++i) {
    name = list[i]
    if (!(name in enumerators) || name in told) continue
    told[name] = 1
    text = enum_doc[name]
    gsub(/\n+/, " ", text)
    print "`" name "` is one of " enumerators[name] "." (text == "" ? "" : " " text) "\n"
  }
}

END {
  if (failed) exit 1
  caffe_type["RDDLayer"] = "Input"
  caffe_messages["RDDLayer"] = "`input_param` and an empty `memory_data_param`"
  print "# Layers\n"
  print "Written by `scripts/layers_md.sh` from the headers; edit those.\n"
  print "A layer is written `TypeLayer{\"name\", {\"bottom\", ...}, {.option = value, ...}, Include::Train}`: the options that"
  print "have a default and the phase may be left out. Its top has its name; others are named by"
  print "`with(layer, {.top = {\"first\", \"second\"}})`. N is the batch, C the channels, H and W the height and the width.\n"
  print "These mean the same in every layer:\n"
  print "| option | |"
  print "| --- | --- |"
  print "| `.lr_mult`, `.decay_mult` | what the solver's learning rate and weight decay are multiplied by, for each parameter: `{1, 2}` or `{.weights = 1, .bias = 2}` |"
  print "| `.filler`, `.weight_filler`, `.bias_filler` | what a parameter is at first: `Filler::xavier()`, `Filler::gaussian(0, 0.01)` and so on (`sparknet/filler.h`) |"
  print "| `.bias` | add a learned number to each output |"
  print "| `.kernel`, `.stride`, `.pad`, `.dilation` as `Size2` | height and width: `{5, 3}`, or `5` for both |"
  print "| `.loss_weight` | what the loss counts in the sum that the net minimises; `with` gives one to any top |\n"
  total = split(groups, group, "\n")
  for (g = 1; g <= total; ++g) {
    if (split(group[g], half, "|") < 2) continue
    text = ""
    n = split(half[2], keys, " ")
    for (i = 1; i <= n; ++i) {
      if (!(keys[i] in layers)) fail("scripts/layers_md.sh: there is no layer in the header of " keys[i])
      m = split(layers[keys[i]], types, " ")
      for (j = 1; j <= m; ++j) {
        shown[types[j]] = 1
        name = layer_space[types[j]] types[j]
        text = text (text == "" ? "" : ", ") "[" name "](#" anchor(types[j]) ")"
      }
    }
    print "* **" trim(half[1]) "**: " text
  }
  print ""
  for (name in layer_space)
    if (!(name in shown)) fail(name " is in no group; scripts/layers_md.sh needs " layer_key[name] " in one")
  for (g = 1; g <= total; ++g) {
    if (split(group[g], half, "|") < 2) continue
    print "## " trim(half[1]) "\n"
    n = split(half[2], keys, " ")
    for (i = 1; i <= n; ++i) {
      m = split(layers[keys[i]], types, " ")
      for (j = 1; j <= m; ++j) print_layer(types[j])
    }
  }
}

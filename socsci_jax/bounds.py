"""Bounds on what is read from outside, each kept here once.  Nothing in this program works in proportion to a number
that an input merely states: the number is compared with its bound first."""

MIB = 2**20

# Files.
JSON_BYTES = 256 * MIB  # the largest tokenizer.json published is 35 MB
JSON_DEPTH = 64
JSON_LINE_BYTES = 16 * MIB
YAML_BYTES = 32 * MIB
YAML_DEPTH = 24
TEXT_BYTES = 64 * MIB

# What a compressed file may grow to: so many times its size, or this much where it is small.  Tables of survey answers
# shrink to a tenth or a thirtieth.
GROWTH = 200
GROWN_BYTES = 64 * MIB
TABLE_ROWS = 10**9
TABLE_COLUMNS = 20_000
# What the rows of a small Parquet file may take in memory: one text that every row repeats is kept once in the file.
SMALL_TABLE_BYTES = 8 * MIB
TABLE_BYTES = 2 * 1024 * MIB
TABLE_CELL_BYTES = 100_000_000
HIDDEN_BYTES = 512 * MIB  # 6,000 items of a model of 8,192 features take 94 MiB
SURVEY_WEIGHT = 1e12
LEAST_WEIGHT = 1e-12  # of anybody who counts at all; sums of much less cannot be divided by
COUNTED_PEOPLE = 2 * 10**6  # that one table of counts stands for

# Models.
LAYERS = 1_000
WIDTH = 2**20  # of anything that a layer holds
VOCABULARY = 2**24
CONTEXT = 2**27
CHAT_TEMPLATE_BYTES = MIB
RENDERED_CHARACTERS = MIB
RENDER_SECONDS = 10
RENDER_BYTES = 1024 * MIB
PATTERNS = 100  # regular expressions of one tokenizer
PATTERN_SECONDS = 10

# Sampling.
DRAWS = 10_000
ANSWER_TOKENS = 2**16
TEMPERATURE = 100.0
SEED = 2**32 - 1  # of everything random
DEVICES = 2**20

# Processes of one run, what one of them sends at a time, and the seconds in which a caller says who it is.
PROCESSES = 100_000
MESSAGE_BYTES = 64 * MIB
HANDSHAKE_SECONDS = 10.0
WAITING_SECONDS = 7 * 24 * 3600.0

"""Phrase banks of the simulated board: our own phrases in the board's tone, without offensive words.

Slots in braces are filled by :mod:`bizcharts_pipeline.demo.writer`.
"""


def _split(entries: str) -> tuple[str, ...]:
    return tuple(entries.split("; "))


# Ticker and the names people use for it, the most talked-about first.
COINS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("BTC", ("bitcoin", "$BTC", "corn")),
    ("ETH", ("ethereum", "$ETH", "eth")),
    ("LINK", ("chainlink", "$LINK", "LINK")),
    ("XMR", ("monero", "$XMR", "XMR")),
    ("SOL", ("solana", "$SOL", "SOL")),
    ("DOGE", ("dogecoin", "$DOGE", "doge")),
    ("XRP", ("ripple", "$XRP", "XRP")),
    ("ADA", ("cardano", "$ADA", "ADA")),
    ("ICP", ("internet computer", "$ICP", "ICP")),
    ("AVAX", ("avalanche", "$AVAX", "AVAX")),
    ("PEPE", ("pepecoin", "$PEPE")),
    ("LTC", ("litecoin", "$LTC", "LTC")),
    ("HBAR", ("hedera", "$HBAR", "HBAR")),
    ("DOT", ("polkadot", "$DOT")),
    ("XLM", ("stellar lumens", "$XLM", "XLM")),
    ("ATOM", ("cosmos", "$ATOM")),
    ("KAS", ("kaspa", "$KAS", "KAS")),
    ("ALGO", ("algorand", "$ALGO", "ALGO")),
    ("SHIB", ("shiba inu", "$SHIB", "SHIB")),
    ("UNI", ("uniswap", "$UNI")),
    ("AAVE", ("aave", "$AAVE", "AAVE")),
    ("SUI", ("$SUI", "SUI network")),
    ("TRX", ("tron", "$TRX", "TRX")),
    ("FIL", ("filecoin", "$FIL")),
    ("GRT", ("the graph", "$GRT", "GRT")),
)

BULLISH = (
    "{coin} is going to the moon and nothing can stop it",
    "we're all gonna make it frens, {coin} {pct}% up {when}",
    "just bought another {n} {coin}, feeling extremely bullish",
    "wagmi. that's the post.",
    "{coin} breakout confirmed, next stop ${usd}",
    "the bottom is in for {coin}, screencap this",
    "loading up on {coin} before {event}",
    "{who} said to buy the dip and {who2} laughed. who is laughing now",
    "green candles as far as the eye can see on {coin}",
    "all in on {coin} at ${usd}, see you on the other side",
    "this is the last time you see {coin} under ${usd}",
    "bears absolutely rekt {when}, {n} shorts liquidated",
    "we are so back. {coin} ripping {pct}% {when}",
    "{coin} is criminally undervalued compared to {coin2}",
    "accumulating {coin} every {period} and never selling",
    "golden cross on the {coin} {period} chart, it's happening",
    "how does it feel to have sold {coin} at the bottom to {who}",
    "{coin} holders are going to retire {when}",
    "i turned {n} dollars into {n2} with {coin} and i'm not selling",
    "supply shock incoming, exchanges have {pct}% less {coin} than {when2}",
    "comfy holding {coin}. absolutely comfy",
    "new all time high {when}, mark my words",
    "{coin} at ${usd} is a gift, diamond hands only",
    "lfg {coin}, {event} is priced at zero right now",
    "up {pct}% on {coin} and this is just the beginning of the bull run",
    "if you don't own at least {n} {coin} i feel bad for you",
    "whales bought {n2} {coin} {when}, you know what comes next",
    "btfd anons, {coin} never stays this cheap",
    "paid off {thing} with {coin} gains, thank you {who}",
    "altseason starts {when} and {coin} leads it",
    "{coin} parabolic by {period} end, few understand this",
    "chart looks incredible, higher lows since {when2}",
    "{who} is buying {coin}. that's all the confirmation i need",
    "you are still early to {coin}",
    "{event} was the bear trap, {coin} only goes up from here",
)

BEARISH = (
    "it's over. {coin} is never coming back from this",
    "down {pct}% on {coin} {when}, i'm ruined",
    "sold everything. {coin} is going to ${usd}",
    "ngmi. none of us are",
    "{coin} is dumping {when} and nobody is buying",
    "dead cat bounce on {coin}, get out while you can",
    "bought the top at ${usd} and now {coin} is a ghost town",
    "absolute bloodbath {when}, {n} longs liquidated",
    "got rekt on a {coin} long, lost {thing}",
    "{coin} devs dumped on us right after {event}",
    "the {coin} chart is a textbook head and shoulders, target ${usd}",
    "{who} rugged another one, lost {n} dollars",
    "this bear market is going to last another {n3} years",
    "{coin} is a scam and {who} is in on it",
    "margin called on {coin} {when}, back to {place}",
    "holders of {coin} are exit liquidity for {who}",
    "{pct}% below where i bought {coin} {when2}, i feel sick",
    "red candle after red candle, {coin} can't hold a single support",
    "shorting {coin} with everything i have left",
    "{event} was the top. it's all downhill from here",
    "why did i listen to {who} about {coin}, it's worthless",
    "death cross on the {coin} {period} chart, worst case ${usd}",
    "{coin} unlocks {n2} tokens {when}, you will be dumped on",
    "capitulated {when}, sold {n} {coin} at a massive loss",
    "if {coin} loses ${usd} it goes straight to zero",
    "crash incoming, the bond market already knows",
    "my bags are down {pct}% and {coin} keeps bleeding",
    "nobody will touch {coin} after {event}",
    "this rally is fake, {coin} is a bull trap",
    "{coin} to zero, told you {when2} and you laughed",
    "stop buying {coin}, there is no bottom",
    "lost {thing} to {coin} leverage, learn from me",
    "exchange froze my {coin} withdrawals {when}, this is how it starts",
    "volume is gone, liquidity is gone, {coin} is finished",
    "{who} sold {n2} {coin} {when}. dump it",
)

NEUTRAL = (
    "what is the best wallet for {coin} these days",
    "how do i move {coin} off {place} without paying {n3} dollars in fees",
    "redpill me on {coin}",
    "what does {who} even do all day",
    "anyone here actually work in {field}?",
    "is a degree in {field} worth {n2} dollars of debt",
    "thoughts on {coin} versus {coin2}?",
    "how much do you need to live in {country} without working",
    "what was your first coin, anon? mine was {coin} {when2}",
    "is it possible to start a {field} business with {n} dollars",
    "explain {event} to me like i'm five",
    "how do taxes work if i swapped {coin} for {coin2} {when2}",
    "post your portfolio, i'll rate it",
    "best book about {field}? looking to read something {when}",
    "what do you eat for lunch at {place}",
    "has anyone used {place} to buy {thing}",
    "does anyone remember the {coin} threads from {when2}",
    "how many hours a week do you work in {field}",
    "my boss wants me to learn {field}, where do i start",
    "what is your monthly budget, i spend {n} on rent",
    "running a {coin} node on a {n3} year old laptop, ask me anything",
    "what happens to {coin} if {event} gets delayed",
    "moving to {country} {when}, what should i know about banks there",
    "is {n2} a year good money at {n4}",
    "how do people find clients in {field}",
    "rent or buy {thing} at {n4}?",
    "what's the difference between {coin} and {coin2}, technically",
    "boring {period}. nothing is moving",
    "what time does {event} start",
    "i need a spreadsheet for tracking {coin}, any recommendations",
    "how old are you and what do you do for {n} a month",
    "do you tell your family about {coin}",
    "quit my job at {place} {when}, what now",
    "can someone check the math on this {coin} staking calculator",
    "interview at {place} {when}, any advice for {field}",
    "which exchange still serves {country}",
    "{who} posted about {field} again, source?",
    "how do dividends work in {country}",
    "is {place} hiring people without experience in {field}",
    "anyone going to the {coin} meetup in {country} {when}",
)

FILLERS = (
    "been thinking about this since {when2}",
    "pic related",
    "serious answers only",
    "no larp",
    "i'm {n4} and live in {country}",
    "{who} told me about it at {place}",
    "checked the {period} chart {n3} times",
    "what did anon mean by this",
    "not financial advice",
    "first time posting here since {when2}",
    "typing this from {place}",
    "took me {n3} months to understand it",
    "say something nice",
    "bump for interest",
    "you have until {when} to answer",
    "screenshot this thread",
    "my wife's {field} teacher agrees",
    "ask me how i know",
)

GREENTEXT = (
    "be me",
    "be {n4}, working at {place}",
    "wake up",
    "check {coin}",
    "open the {period} chart",
    "{who} calls",
    "put {n} dollars into {coin} {when2}",
    "tell {who} about {coin}",
    "mfw",
    "close the laptop",
    "go back to {place}",
    "he doesn't hold {coin}",
    "he didn't read the whitepaper",
    "forget about it until {when}",
    "eat instant noodles in {country}",
    "still thinks about {event}",
)

# Said with the opposite meaning; a tail gives it away to a person.
IRONIC_BULL = (
    "so bullish",
    "to the moon any day now",
    "wagmi they said",
    "buy the dip they said",
    "trust the plan",
)
IRONIC_BEAR = (
    "oh no it's over again",
    "guess we're ngmi then",
    "dead coin btw",
    "bears told me it's going to zero",
)
IRONIC_TAILS = ("yeah right", "kek", "sure thing buddy", "any day now", "lmao", "surely this time")

# The text says nothing, the picture everything.
IMAGE_ONLY = (
    "explain this {coin} chart from {when2}",
    "well, {who}?",
    "what happened to {coin} {when}",
    "{coin} {period} update for {when}",
    "{who} sent me this {when}",
    "found this at {place}, thoughts on {coin}?",
    "me at {place} {when} with {n} {coin}",
    "{coin} and {coin2} since {when2}",
)

# In pictures, short enough for a thumbnail.
CAPTIONS = {
    "bullish": ("WAGMI", "WE ARE SO BACK", "TO THE MOON", "BUY THE DIP", "UP ONLY", "NEW HIGHS SOON", "STILL EARLY"),
    "bearish": ("IT IS OVER", "NGMI", "SELL EVERYTHING", "RUGGED AGAIN", "DOWN ONLY", "GOING TO ZERO", "I AM RUINED"),
    "neutral": ("THINKING", "WHO DID THIS", "MONDAY AGAIN", "HELLO FRENS", "LUNCH TIME", "WHAT NOW", "NICE WEATHER"),
}

COPYPASTA = {
    "bullish": (
        (
            "{coin} will reach ${usd} and I am tired of pretending it's not. {who} has been buying for "
            "{n3} months in silence while you argued about {coin2}. Take {n} dollars, buy {coin}, and "
            "come back when {event} is over."
        ),
        (
            "Listen carefully because I will post this only once: {coin} is the one {who} does not want "
            "you to hold. {pct}% of the supply is staked at {place}. When {event} hits, there will be "
            "no sellers left under ${usd}."
        ),
    ),
    "bearish": (
        (
            "I worked at {place} and I have seen the {coin} order book. There is nothing there. {who} "
            "will sell {n2} {coin} right before {event}, and you will be left holding it at ${usd}. Do "
            "with this what you will."
        ),
        (
            "Every single person who told you to buy {coin} has already sold it to you. Read that "
            "again. {pct}% down since {when2}, and {who} is still posting rockets. It is finished."
        ),
    ),
}

GENERALS = (
    ("smg", "/smg/ - Stock Market General", "Stocks, funds, options. Be civil, post your positions."),
    ("xmrg", "/xmrg/ - Monero General", "Private money for private people. Run your own node."),
    ("pmg", "/pmg/ - Precious Metals General", "Gold, silver, stacking and storage."),
)

EDITIONS = (
    "morning coffee",
    "boring week",
    "red day",
    "green day",
    "rate decision",
    "late night",
    "weekend",
    "sideways",
)

REPLIES = (
    "checked",
    "this",
    "source?",
    "kek",
    "what did he mean by this",
    "screencapped",
    "bump",
    "thanks for the heads up anon",
    "i have been saying this for months",
    "no",
    "post your position",
    "read the whitepaper",
    "imagine believing this",
    "same here",
    "good thread",
    "how old are you",
    "you are not ready for what comes next",
    "not selling",
    "explain",
    "ok",
    "sold already",
    "two more weeks",
    "nobody knows",
)

SLOTS: dict[str, tuple[str, ...]] = {
    "when": _split(
        "today; tonight; tomorrow; next week; this morning; by friday; on monday; this month; "
        "before christmas; this quarter; right now; in the next hour; by the end of summer; over "
        "the weekend"
    ),
    "when2": _split(
        "last year; 2017; 2021; last summer; yesterday; the last halving; march; 2013; two weeks "
        "ago; the day it launched; last november; the lockdowns; last tuesday"
    ),
    "who": _split(
        "my barber; the whales; a taxi driver; my uncle; the guy from accounting; my landlord; the "
        "fed; some hedge fund; my dentist; the bogs; a dude on the train; my old teacher; the dev; "
        "grandma; my neighbour; the market makers; this one anon; an insider; the pizza guy; my gym "
        "buddy"
    ),
    "place": _split(
        "the warehouse; the office; a bank; the night shift; the supermarket; the exchange; the "
        "bakery; a call centre; the docks; my parents' house; the library; the gas station; a data "
        "centre"
    ),
    "event": _split(
        "the rate decision; the halving; the etf vote; the mainnet launch; the token unlock; the "
        "conference; the upgrade; the election; the earnings call; the court ruling; the listing; "
        "the hard fork; the jobs report; the partnership announcement"
    ),
    "period": ("daily", "weekly", "monthly", "hourly", "4h", "quarterly"),
    "thing": _split(
        "my car; the house; a boat; my savings; the tuition; a new kitchen; my rent; the mortgage; "
        "a used motorcycle; two years of work; the wedding budget; a piece of land"
    ),
    "field": _split(
        "plumbing; accounting; welding; web design; logistics; nursing; farming; insurance; law; "
        "machine learning; real estate; carpentry; trucking; chemistry; copywriting"
    ),
    "country": _split(
        "portugal; thailand; switzerland; argentina; georgia; poland; japan; panama; canada; spain; "
        "malaysia; norway; uruguay; cyprus; vietnam"
    ),
}

WORDS_FOR_FILES = (
    "chart",
    "wojak",
    "frog",
    "screenshot",
    "bogged",
    "IMG",
    "portfolio",
    "download",
    "meme",
    "graph",
)

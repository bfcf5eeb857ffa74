module piecework/samples

go 1.24

require github.com/bots-garden/capsule v0.0.0

replace github.com/bots-garden/capsule => ./capsule

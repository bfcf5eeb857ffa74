module github.com/bots-garden/capsule

go 1.24

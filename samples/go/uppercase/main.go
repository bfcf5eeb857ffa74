// Its input in capital letters.
package main

import (
	"bytes"
	"io"
	"log"
	"os"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(bytes.ToUpper(text))
}

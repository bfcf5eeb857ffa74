// The sum of the numbers in a JSON list.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
)

func main() {
	var numbers []float64
	if err := json.NewDecoder(os.Stdin).Decode(&numbers); err != nil {
		log.Fatal("the input is not a list of numbers: ", err)
	}
	sum := 0.0
	for _, number := range numbers {
		sum += number
	}
	fmt.Println(sum)
}

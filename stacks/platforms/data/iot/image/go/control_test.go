package main

import (
	"fmt"
	"testing"
)

// The plug-in tells every administrator all answers: those to others leave room for one's own.
func TestAnswersToOthersAreDropped(t *testing.T) {
	c := &control{answers: make(chan []byte, 8)}
	c.hear([]byte(`{"responses": [{"correlationData": ""}]}`))
	c.asked.Store("mine")
	for other := range 20 {
		c.hear([]byte(fmt.Sprintf(`{"responses": [{"correlationData": "other-%d"}]}`, other)))
	}
	own := `{"responses": [{"correlationData": "mine"}]}`
	c.hear([]byte(own))
	if len(c.answers) != 1 || string(<-c.answers) != own {
		t.Fatal("the answer is not there")
	}
}

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	probeTopic = "wecity.probe/"
	// What a probe that was killed has left is removed after this time (`stacks.platforms.probes.ABANDONED`).
	abandoned = 600 * time.Second
)

// probe publishes a retained message, reads it as somebody who comes later does, and clears it.
func probe(c *control) error {
	now := time.Now()
	topic, text := probeTopic+token(), strconv.FormatInt(now.Unix(), 10)
	left := []string{}
	if err := c.retained(probeTopic+"#", func(m message) {
		since, err := strconv.ParseInt(string(m.payload), 10, 64)
		if err != nil || now.Sub(time.Unix(since, 0)) > abandoned {
			left = append(left, m.topic)
		}
	}); err != nil {
		return err
	}
	for _, one := range append(left, topic) {
		payload := ""
		if one == topic {
			payload = text
		}
		if err := waited(c.client.Publish(one, 1, true, payload)); err != nil {
			return err
		}
	}
	found := []string{}
	note := func(m message) { found = append(found, string(m.payload)) }
	if err := c.retained(topic, note); err != nil {
		return err
	}
	if strings.Join(found, " ") != text {
		return fmt.Errorf("a message that was retained is read back as %q", found)
	}
	if err := waited(c.client.Publish(topic, 1, true, "")); err != nil {
		return err
	}
	found = nil
	if err := c.retained(topic, note); err != nil {
		return err
	}
	if len(found) > 0 {
		return errors.New("a message that was cleared is still there")
	}
	fmt.Println("a message was published and retained, read and cleared")
	return nil
}

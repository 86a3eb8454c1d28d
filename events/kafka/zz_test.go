package kafka

import (
	_ "github.com/ThreeDotsLabs/watermill/pubsub/tests"
	_ "github.com/segmentio/kafka-go"
	_ "github.com/twmb/franz-go/pkg/kfake"
	_ "go.uber.org/goleak"
)

"""ROS 2 nodes: parameters, topics and timing. What they compute lives in the packages below."""

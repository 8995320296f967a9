"""What `up --wait` shows while it waits."""


def test_logs_until_it_is_ready(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            command: [sh, -c, "echo begun; sleep 0.3; echo ready; touch /ok; exec sleep 1000"]
            init: true
            healthcheck: {test: [CMD, test, -e, /ok], interval: 100ms}
          quiet: {image: busybox, command: [sh, -c, "echo hidden; exec sleep 1000"], init: true, attach: false}
        """
    )
    done = composer("up", "--wait")
    assert done.out == "web-1  | begun\nweb-1  | ready\n"
    assert composer("up", "--wait").out == ""  # it had written before
    assert composer("up", "-d", "--force-recreate").out == ""
    composer("down", "-t", "0")

"""Completions for the commands on containers, images, networks and volumes."""


def test_completion_of_object_names(composer):
    composer.write(
        compose="""
        services: {web: {image: busybox, command: [sleep, "1000"], init: true, volumes: ["data:/x"]}}
        volumes: {data: {}}
        """
    )
    composer("up", "-d")

    def offered(*words):
        return composer("complete", "--", *words).out.split()

    name = composer.name
    assert f"{name}-web-1" in offered("container", "logs", "")
    assert offered("container", "rm", f"{name}-w") == [f"{name}-web-1"]
    assert offered("container", "exec", f"{name}-web-1", "") == []
    assert offered("network", "inspect", name) == [f"{name}_default"]
    assert offered("volume", "inspect", name) == [f"{name}_data"]
    assert "busybox:latest" in offered("image", "history", "busy")
    composer("down", "-v", "-t", "0")

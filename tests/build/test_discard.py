import os
import threading

import pytest


@pytest.mark.root
def test_a_layer_that_exists_is_removed_beside_the_build(builder, base, images):
    files = {f"d/{number}": str(number) for number in range(50)}
    first = builder("FROM base\nCOPY d /d", files=files)
    assert builder("FROM base\nCOPY d /d", no_cache=True).layers == first.layers
    for thread in threading.enumerate():
        if thread.name == "rubbish":
            thread.join()
    assert not [name for name in os.listdir(images.layers.root) if name.startswith(".")]

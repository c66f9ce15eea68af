"""What a built model does as the one that was saved, beyond its layers and weights."""

from __future__ import annotations

import keras

from regraft.loading.restore import RestorePlan
from regraft.loading.revived_layer import TracedRegularizer
from regraft.loading.step_by_step import run_step_by_step, train_through_loops
from regraft.loading.whole import losers_of_masks, missers_of_masks, misses_masks
from regraft.model.description import ModelDescription
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.names import original_name
from regraft.model.keras2.added_metrics import show_added_metrics
from regraft.model.keras2.behaviour import compute_as_keras2, fix_trainings
from regraft.model.keras2.host_models import accept_text
from regraft.model.keras2.regularizers import flatten_at_zero, repeat_regularizers
from regraft.model.keras2.trained_writes import keep_trained_writes
from regraft.options import LoadOptions

# Classes of Keras 2 that Keras 3 lacks and that aren't rebuilt. Of a user's classes no
# file tells what they do.
_WITH_OWN_STEPS = ("Custom>SharpnessAwareMinimization",)


def let_behave_as_saved(
    model: keras.Model,
    description: ModelDescription,
    plan: RestorePlan,
    context: BuildContext,
    options: LoadOptions,
) -> None:
    """Lets a model take text, count, lose and keep as the saved one did.

    Args:
        model: Built, with its weights.
        description: What was read.
        plan: Of its weights.
        context: Of the build; notes what can't be done here.
        options: Of the load.
    """
    accept_text(model)
    if (why := run_step_by_step(model)) is not None:
        context.note(f"model {original_name(model)!r}", why)
    train_through_loops(model)
    if context.dialect.computes_as_keras2:
        compute_as_keras2(model)
        flatten_at_zero(model.variables)
    if context.dialect.repeats_regularizers:
        repeat_regularizers(model)
    elif description.extra.get("repeats_regularizers"):
        # What was traced counts as often as it did.
        repeat_regularizers(model, but=(TracedRegularizer,))
    fix_trainings(model, description.extra.get("fixed_trainings", ()))
    if context.dialect.generation < 3 or description.extra.get("keeps_trained_writes"):
        for layer in keep_trained_writes(model):
            context.note(
                f"layer {original_name(layer)!r}",
                "writes its trained weights for each step of training, as to normalize "
                "them; Keras 2 keeps what is written, which can't be done here",
            )
    for layer in losers_of_masks(model, description, plan, options):
        context.note(
            f"layer {original_name(layer)!r}",
            "was called with a mask or makes one, and what its class hands on is in no "
            "function: losses, metrics and layers after it see none. Pass its class",
        )
    for layer in missers_of_masks(model):
        context.note(
            f"layer {original_name(layer)!r}",
            "is given a mask, which TensorFlow left out of its functions: it computes "
            "as without one. Pass its class, or run the signature `serving_default`, "
            "which heeds the mask",
        )
    if context.dialect.computes_as_keras2 and misses_masks(model, plan):
        context.note(
            f"model {original_name(model)!r}",
            "a layer in it makes masks, which TensorFlow leaves out of the functions "
            "of a model: the layers after it see none, as where Keras 2 loads the file "
            "without the class. Pass its class, or run the signature "
            "`serving_default`, which has them",
        )
    if getattr(model, "saved_class_name", None) in _WITH_OWN_STEPS:
        context.note(
            f"model {original_name(model)!r}",
            "its class takes training steps of its own, which are in no function: it "
            "trains by Keras' plain ones",
        )
    show_added_metrics(model)

"""Training LFDN, and measuring it.

recipe       the options of a run, presets, the learning rate
train        the training loop; one step is `_Trainer.run_step`
losses       training losses
optim        Muon, an optimizer
degradation  synthetic rain or blur on the crops of a batch
validation   the score on images kept back from training
checkpoint   the files of a run
distributed  several processes under torchrun
evaluate     PSNR and SSIM on test sets
"""
